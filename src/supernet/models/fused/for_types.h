/* Compile SOURCE for float and for double. */
#define REAL float
#define NAME(name) name##_float
#include SOURCE
#undef REAL
#undef NAME
#define REAL double
#define NAME(name) name##_double
#include SOURCE
