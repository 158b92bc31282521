/* Average pooling of channels-last images, and its gradient. Every number is a sum in the order of PyTorch's own kernels,
   so that it has the same bits. Compiled for float and for double. */
#ifndef REAL

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"

/* The windows of a side of `in` pixels, which lead to `out` pixels; `padded`: the zeros around the image count. */
typedef struct {
    long in, out, kernel, stride, padding, padded;
} Side;

/* A sum goes over the places from `first` to `end` - 1, and a pooled one is divided by `count`. */
typedef struct {
    long first, end, count;
} Span;

/* Set the pixels of each window. */
static void windows(const Side *side, Span *spans) {
    for (long o = 0; o < side->out; o++) {
        long start = o * side->stride - side->padding, end = start + side->kernel;
        if (end > side->in + side->padding) end = side->in + side->padding;
        Span span = {start < 0 ? 0 : start, end > side->in ? side->in : end, end - start};
        if (!side->padded) span.count = span.end - span.first;
        spans[o] = span;
    }
}

/* Set the windows that hold each pixel. */
static void holders(const Side *side, Span *spans) {
    for (long i = 0; i < side->in; i++) {
        long first = i + side->padding - side->kernel + 1, end = (i + side->padding) / side->stride + 1;
        Span span = {first <= 0 ? 0 : (first + side->stride - 1) / side->stride, end > side->out ? side->out : end, 1};
        spans[i] = span;
    }
}

#define SOURCE "pooling.c"
#include "for_types.h"

#else

/* out = the sum of `rows` times `columns` pixels of `in`, whose rows lie `row` numbers apart */
INLINE void NAME(sum)(long C, REAL *restrict out, const REAL *restrict in, long rows, long columns, long row) {
    REAL total[C];
    memset(total, 0, sizeof total);
    for (long y = 0; y < rows; y++)
        for (long x = 0; x < columns; x++)
            for (long c = 0; c < C; c++) total[c] += in[y * row + x * C + c];
    memcpy(out, total, sizeof total);
}

/* out[y][x] = the sum of the pixels in the spans of y and x, in rows of `width` pixels; most have 3x3 */
INLINE void NAME(sums)(long C, long height, const Span *rows, long length, const Span *columns, long width,
                       const REAL *in, REAL *out) {
    for (long y = 0; y < height; y++)
        for (long x = 0; x < length; x++, out += C) {
            long down = rows[y].end - rows[y].first, along = columns[x].end - columns[x].first;
            const REAL *first = in + (rows[y].first * width + columns[x].first) * C;
            if (down == 3 && along == 3) NAME(sum)(C, out, first, 3, 3, width * C);
            else NAME(sum)(C, out, first, down, along, width * C);
        }
}

/* Divide the numbers of windows by the counts of their spans. `out` may be `in`. */
INLINE void NAME(divide)(long C, long height, const Span *rows, long length, const Span *columns, const REAL *in,
                         REAL *out) {
    for (long y = 0; y < height; y++)
        for (long x = 0; x < length; x++, in += C, out += C) {
            REAL count = rows[y].count * columns[x].count;
            for (long c = 0; c < C; c++) out[c] = in[c] / count;
        }
}

INLINE void NAME(pool)(long C, const Side *rows, const Side *columns, const REAL *in, REAL *out) {
    Span down[rows->out], along[columns->out];
    windows(rows, down), windows(columns, along);
    NAME(sums)(C, rows->out, down, columns->out, along, columns->in, in, out);
    NAME(divide)(C, rows->out, down, columns->out, along, out, out);
}

/* `shares`: room for the gradients of an image's windows, each divided by the window's count */
INLINE void NAME(unpool)(long C, const Side *rows, const Side *columns, const REAL *gradient, REAL *back, REAL *shares) {
    Span down[rows->out], along[columns->out], above[rows->in], beside[columns->in];
    windows(rows, down), windows(columns, along), holders(rows, above), holders(columns, beside);
    NAME(divide)(C, rows->out, down, columns->out, along, gradient, shares);
    NAME(sums)(C, rows->in, above, columns->in, beside, columns->out, shares, back);
}

/* Pool images, or with `back` compute the gradient of their pixels from that of the windows. */
void NAME(average)(long C, long images, const Side *rows, const Side *columns, const REAL *from, REAL *to, int back,
                   long threads) {
    long inner = rows->in * columns->in * C, outer = rows->out * columns->out * C;
#pragma omp parallel num_threads(threads)
    {
        REAL *shares = malloc(outer * sizeof *shares);
#pragma omp for
        for (long i = 0; i < images; i++)
            if (back) WITH_WIDTH(NAME(unpool), rows, columns, from + i * outer, to + i * inner, shares)
            else WITH_WIDTH(NAME(pool), rows, columns, from + i * inner, to + i * outer)
        free(shares);
    }
}

#endif
