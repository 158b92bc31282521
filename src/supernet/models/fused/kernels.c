/* Batch normalisation, op weights and the sums into nodes in few passes over memory, for channels-last tensors.
   Compiled for float and for double. A row is one pixel: its channels lie next to each other in memory.

   Totals are accumulated over 32 rows in the type of the data, and over all rows in double. Every thread has a share
   of the rows, and the threads' totals are added in order, so that a result depends only on the number of threads. */
#ifndef REAL

#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"

enum { BLOCK = 32, CHUNK = 128 };
enum { PLAIN, BATCH, RUNNING }; /* not normalised; normalised by batch statistics; by running statistics */

/* Loop over the rows in chunks from `start` to `end`, so that the rows of all parts stay in the nearest cache. */
#define FOR_CHUNKS(from, to)                                                                                           \
    for (long start = from, end; end = start + CHUNK < to ? start + CHUNK : to, start < to; start = end)

/* Set `from` and `to` to the rows of the calling thread. */
static void share(long rows, long *from, long *to) {
    long t = omp_get_thread_num(), n = omp_get_num_threads();
    *from = rows * t / n, *to = rows * (t + 1) / n;
}

#define SOURCE "kernels.c"
#include "for_types.h"

#else

/* Part p consists of `width` channels, whose row r starts at value[p] + r * ld[p], and is added to sum target[p] with
   weight[p]. same[p] is the first part with the same channels. The pointers in the last four arrays may be NULL. */
typedef struct {
    long rows, width, parts, sums, sum_ld, threads;
    const long *ld, *target, *same, *kind;
    const double *weight, *eps, *momentum;
    REAL *mean, *variance; /* (parts, width), written by forward */
    REAL *const *running_mean, *const *running_variance;
    int64_t *const *batches; /* the number of batches in the running statistics */
    const REAL *const *scale, *const *shift;
} NAME(Call);

INLINE void NAME(moments)(long C, long from, long to, const REAL *restrict z, long ld, double *restrict sum) {
    for (long start = from; start < to; start += BLOCK) {
        REAL first[C], second[C];
        memset(first, 0, sizeof first), memset(second, 0, sizeof second);
        for (long r = start; r < to && r < start + BLOCK; r++)
            for (long c = 0; c < C; c++) {
                REAL d = z[r * ld + c] - z[c]; /* from the first row: a mean far from zero would cancel digits */
                first[c] += d, second[c] += d * d;
            }
        for (long c = 0; c < C; c++) sum[c] += first[c], sum[C + c] += second[c];
    }
}

static void NAME(statistics)(const NAME(Call) * call, const REAL *const *value) {
    long C = call->width, count = call->parts * 2 * C;
    double *sums = calloc(call->threads * count, sizeof *sums);
#pragma omp parallel num_threads(call->threads)
    {
        long from, to;
        double *mine = sums + omp_get_thread_num() * count;
        share(call->rows, &from, &to);
        for (long p = 0; p < call->parts; p++)
            if (call->kind[p] == BATCH && call->same[p] == p)
                WITH_WIDTH(NAME(moments), from, to, value[p], call->ld[p], mine + p * 2 * C)
    }
    for (long p = 0; p < call->parts; p++)
        for (long c = 0; c < C; c++) {
            REAL *mean = &call->mean[p * C + c], *variance = &call->variance[p * C + c];
            if (call->kind[p] == RUNNING) *mean = call->running_mean[p][c], *variance = call->running_variance[p][c];
            if (call->kind[p] != BATCH) continue;
            double first = 0, second = 0;
            for (long t = 0; t < call->threads; t++) {
                double *sum = sums + t * count + call->same[p] * 2 * C + c;
                first += sum[0], second += sum[C];
            }
            first /= call->rows, second = second / call->rows - first * first;
            if (second < 0) second = 0; /* by rounding; NaN stays NaN */
            *mean = value[p][c] + first, *variance = second;
            if (!call->running_mean[p]) continue;
            if (c == 0 && call->batches[p]) ++*call->batches[p];
            double by = call->momentum[p], unbiased = second * call->rows / (call->rows - 1);
            call->running_mean[p][c] += by * (*mean - call->running_mean[p][c]);
            call->running_variance[p][c] += by * (unbiased - call->running_variance[p][c]);
        }
    free(sums);
}

INLINE double NAME(rstd)(const NAME(Call) * call, long p, long c) {
    return call->kind[p] == PLAIN ? 1 : 1 / sqrt((double)call->variance[p * call->width + c] + call->eps[p]);
}

INLINE double NAME(scale)(const NAME(Call) * call, long p, long c) { return call->scale[p] ? call->scale[p][c] : 1; }

INLINE void NAME(begin)(long C, long from, long to, REAL *restrict out, long ld, const REAL *restrict level, int begun) {
    if (begun)
        for (long r = from; r < to; r++)
            for (long c = 0; c < C; c++) out[r * ld + c] += level[c];
    else
        for (long r = from; r < to; r++)
            for (long c = 0; c < C; c++) out[r * ld + c] = level[c];
}

INLINE void NAME(add)(long C, long from, long to, REAL *restrict out, long out_ld, const REAL *restrict in, long ld,
                      const REAL *restrict by) {
    for (long r = from; r < to; r++)
        for (long c = 0; c < C; c++) out[r * out_ld + c] += by[c] * in[r * ld + c];
}

/* total[t] = (begun[t] ? total[t] : 0) + sum over parts into t of weight * (scale * (value - mean) * rstd + shift) */
void NAME(forward)(const NAME(Call) * call, const REAL *const *value, REAL *const *total, const int *begun) {
    long C = call->width;
    REAL *factor = malloc(call->parts * C * sizeof *factor), *constant = malloc(call->sums * C * sizeof *constant);
    double *level = calloc(call->sums * C, sizeof *level);
    NAME(statistics)(call, value);
    for (long p = 0; p < call->parts; p++)
        for (long c = 0; c < C; c++) {
            double by = call->weight[p] * NAME(scale)(call, p, c) * NAME(rstd)(call, p, c);
            double *at = &level[call->target[p] * C + c];
            factor[p * C + c] = by;
            if (call->kind[p] != PLAIN) *at -= by * call->mean[p * C + c];
            if (call->shift[p]) *at += call->weight[p] * call->shift[p][c];
        }
    for (long i = 0; i < call->sums * C; i++) constant[i] = level[i];
#pragma omp parallel num_threads(call->threads)
    {
        long from, to, ld = call->sum_ld;
        share(call->rows, &from, &to);
        FOR_CHUNKS(from, to) {
            for (long s = 0; s < call->sums; s++)
                WITH_WIDTH(NAME(begin), start, end, total[s], ld, constant + s * C, begun[s])
            for (long p = 0; p < call->parts; p++)
                WITH_WIDTH(NAME(add), start, end, total[call->target[p]], ld, value[p], call->ld[p], factor + p * C)
        }
    }
    free(factor), free(constant), free(level);
}

INLINE void NAME(product)(long C, long from, long to, const REAL *restrict g, long g_ld, const REAL *restrict z,
                          long ld, const REAL *restrict mean, double *restrict sum) {
    for (long start = from; start < to; start += BLOCK) {
        REAL part[C];
        memset(part, 0, sizeof part);
        for (long r = start; r < to && r < start + BLOCK; r++)
            for (long c = 0; c < C; c++) part[c] += g[r * g_ld + c] * (z[r * ld + c] - mean[c]);
        for (long c = 0; c < C; c++) sum[c] += part[c];
    }
}

INLINE void NAME(level)(long C, long from, long to, const REAL *restrict g, long ld, double *restrict sum) {
    for (long start = from; start < to; start += BLOCK) {
        REAL part[C];
        memset(part, 0, sizeof part);
        for (long r = start; r < to && r < start + BLOCK; r++)
            for (long c = 0; c < C; c++) part[c] += g[r * ld + c];
        for (long c = 0; c < C; c++) sum[c] += part[c];
    }
}

/* out = (first ? 0 : out) + by * g + slope * z + constant; the C slopes and the C constants follow `by` in memory. */
INLINE void NAME(spread)(long C, long from, long to, REAL *restrict out, long ld, const REAL *restrict g, long g_ld,
                         const REAL *restrict z, const REAL *restrict by, int first) {
    const REAL *restrict slope = by + C, *restrict constant = slope + C;
    if (first)
        for (long r = from; r < to; r++)
            for (long c = 0; c < C; c++)
                out[r * ld + c] = by[c] * g[r * g_ld + c] + slope[c] * z[r * ld + c] + constant[c];
    else
        for (long r = from; r < to; r++)
            for (long c = 0; c < C; c++)
                out[r * ld + c] += by[c] * g[r * g_ld + c] + slope[c] * z[r * ld + c] + constant[c];
}

/* Compute the gradients of all values, weights, scales and shifts from the gradients of the sums. back[p] receives the
   gradient of part p's channels, added up over the parts that share them; it is NULL where none is needed. */
void NAME(backward)(const NAME(Call) * call, const REAL *const *value, const REAL *const *gradient, REAL *const *back,
                    REAL *of_weight, REAL *const *of_scale, REAL *const *of_shift) {
    long C = call->width, count = (call->parts + call->sums) * C;
    double *sums = calloc(call->threads * count, sizeof *sums);
    REAL *coefficients = malloc(3 * call->parts * C * sizeof *coefficients), *zero = calloc(C, sizeof *zero);
#pragma omp parallel num_threads(call->threads)
    {
        long from, to, ld = call->sum_ld;
        double *mine = sums + omp_get_thread_num() * count;
        share(call->rows, &from, &to);
        FOR_CHUNKS(from, to) {
            for (long p = 0; p < call->parts; p++) {
                const REAL *g = gradient[call->target[p]], *mean = call->kind[p] == PLAIN ? zero : call->mean + p * C;
                WITH_WIDTH(NAME(product), start, end, g, ld, value[p], call->ld[p], mean, mine + p * C)
            }
            for (long s = 0; s < call->sums; s++)
                WITH_WIDTH(NAME(level), start, end, gradient[s], ld, mine + (call->parts + s) * C)
        }
    }
    for (long t = 1; t < call->threads; t++)
        for (long i = 0; i < count; i++) sums[i] += sums[t * count + i];
    for (long p = 0; p < call->parts; p++) {
        double of = 0;
        REAL *by = coefficients + 3 * p * C;
        for (long c = 0; c < C; c++) {
            double rstd = NAME(rstd)(call, p, c), scale = NAME(scale)(call, p, c);
            double dot = sums[p * C + c] * rstd, level = sums[(call->parts + call->target[p]) * C + c];
            double factor = call->weight[p] * scale * rstd;
            double slope = call->kind[p] == BATCH ? -factor * rstd * dot / call->rows : 0;
            of += scale * dot + (call->shift[p] ? level * call->shift[p][c] : 0);
            if (of_scale[p]) of_scale[p][c] = call->weight[p] * dot;
            if (of_shift[p]) of_shift[p][c] = call->weight[p] * level;
            by[c] = factor, by[C + c] = slope;
            by[2 * C + c] = call->kind[p] == BATCH ? -factor * level / call->rows - slope * call->mean[p * C + c] : 0;
        }
        of_weight[p] = of;
    }
#pragma omp parallel num_threads(call->threads)
    {
        long from, to, ld = call->sum_ld;
        share(call->rows, &from, &to);
        FOR_CHUNKS(from, to)
            for (long p = 0; p < call->parts; p++) {
                const REAL *g = gradient[call->target[p]], *by = coefficients + 3 * p * C;
                int first = call->same[p] == p;
                if (back[p]) WITH_WIDTH(NAME(spread), start, end, back[p], call->ld[p], g, ld, value[p], by, first)
            }
    }
    free(sums), free(coefficients), free(zero);
}

#endif
