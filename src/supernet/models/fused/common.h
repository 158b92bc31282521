/* What the kernels have in common. */
#define INLINE static inline __attribute__((always_inline))
/* Call `function` with C first; each common width is compiled separately, so that its loops are unrolled. */
#define WITH_WIDTH(function, ...)                                                                                      \
    switch (C) {                                                                                                       \
    case 4: function(4, __VA_ARGS__); break;                                                                           \
    case 8: function(8, __VA_ARGS__); break;                                                                           \
    case 16: function(16, __VA_ARGS__); break;                                                                         \
    case 32: function(32, __VA_ARGS__); break;                                                                         \
    case 64: function(64, __VA_ARGS__); break;                                                                         \
    default: function(C, __VA_ARGS__);                                                                                 \
    }
