/* Batch norm, weights and sums in as few passes over memory as can be, and windows that slide over images, both for
   channels-last tensors: the channels of a pixel lie next to each other. Compiled for float and for double.

   Sums are taken over 32 rows in the type of the data and over all rows in double. Each thread has its share of the
   rows, and the shares are added in order, so that a result depends on the number of threads and on nothing else. */
#ifndef REAL

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 32, CHUNK = 128 };
enum { PLAIN, OWN, RUNNING }; /* not normalised; by the statistics of the batch; by the running ones */

#define INLINE static inline __attribute__((always_inline))
/* Call `function` with C first; the common widths are compiled for themselves, so that their loops are unrolled. */
#define WITH_WIDTH(function, ...)                                                                                      \
    switch (C) {                                                                                                       \
    case 4: function(4, __VA_ARGS__); break;                                                                           \
    case 8: function(8, __VA_ARGS__); break;                                                                           \
    case 16: function(16, __VA_ARGS__); break;                                                                         \
    case 32: function(32, __VA_ARGS__); break;                                                                         \
    case 64: function(64, __VA_ARGS__); break;                                                                         \
    default: function(C, __VA_ARGS__);                                                                                 \
    }

/* Rows in chunks from `start` to `end`, so that what all parts read or write stays in the nearest cache. */
#define FOR_CHUNKS(from, to)                                                                                           \
    for (long start = from, end; end = start + CHUNK < to ? start + CHUNK : to, start < to; start = end)

/* Images (batch, height, width, C) and what a sliding window makes of them, (batch, out[0], out[1], C); pairs are of rows
   and of columns. */
typedef struct {
    long batch, height, width, channels, threads;
    long out[2], kernel[2], stride[2], padding[2], dilation[2];
} Window;

/* The outputs, from `first` to before `last`, for which the pixel at output * stride + offset is one of `length`. */
static void inside(long length, long out, long stride, long offset, long *first, long *last) {
    *first = offset >= 0 ? 0 : (-offset + stride - 1) / stride;
    *last = length - offset <= 0 ? 0 : (length - offset + stride - 1) / stride;
    if (*last > out) *last = out;
}

/* The rows of the calling thread. */
static void share(long rows, long *from, long *to) {
    long t = omp_get_thread_num(), n = omp_get_num_threads();
    *from = rows * t / n, *to = rows * (t + 1) / n;
}

#define REAL float
#define NAME(name) name##_float
#include "kernels.c"
#undef REAL
#undef NAME
#define REAL double
#define NAME(name) name##_double
#include "kernels.c"

#else

/* Part p is `width` channels at value[p], the next row ld[p] numbers on; it goes into sum target[p] with weight[p].
   same[p] is the first part with the same channels. The last four arrays have NULL where there is nothing. */
typedef struct {
    long rows, width, parts, sums, sum_ld, threads;
    const long *ld, *target, *same, *kind;
    const double *weight, *eps, *momentum;
    REAL *mean, *variance; /* (parts, width), written by forward */
    REAL *const *running_mean, *const *running_variance;
    const REAL *const *scale, *const *shift;
} NAME(Job);

INLINE void NAME(moments)(long C, long from, long to, const REAL *restrict z, long ld, double *restrict sum) {
    for (long start = from; start < to; start += BLOCK) {
        REAL first[C], second[C];
        memset(first, 0, sizeof first), memset(second, 0, sizeof second);
        for (long r = start; r < to && r < start + BLOCK; r++)
            for (long c = 0; c < C; c++) {
                REAL d = z[r * ld + c] - z[c]; /* from the first row: what is far from zero must not cancel */
                first[c] += d, second[c] += d * d;
            }
        for (long c = 0; c < C; c++) sum[c] += first[c], sum[C + c] += second[c];
    }
}

static void NAME(statistics)(const NAME(Job) * job, const REAL *const *value) {
    long C = job->width, count = job->parts * 2 * C;
    double *sums = calloc(job->threads * count, sizeof *sums);
#pragma omp parallel num_threads(job->threads)
    {
        long from, to;
        double *own = sums + omp_get_thread_num() * count;
        share(job->rows, &from, &to);
        for (long p = 0; p < job->parts; p++)
            if (job->kind[p] == OWN && job->same[p] == p)
                WITH_WIDTH(NAME(moments), from, to, value[p], job->ld[p], own + p * 2 * C)
    }
    for (long p = 0; p < job->parts; p++)
        for (long c = 0; c < C; c++) {
            REAL *mean = &job->mean[p * C + c], *variance = &job->variance[p * C + c];
            if (job->kind[p] == RUNNING) *mean = job->running_mean[p][c], *variance = job->running_variance[p][c];
            if (job->kind[p] != OWN) continue;
            double first = 0, second = 0;
            for (long t = 0; t < job->threads; t++) {
                double *sum = sums + t * count + job->same[p] * 2 * C + c;
                first += sum[0], second += sum[C];
            }
            first /= job->rows, second = second / job->rows - first * first;
            if (second < 0) second = 0; /* by rounding; what is not a number stays so */
            *mean = value[p][c] + first, *variance = second;
            if (!job->running_mean[p]) continue;
            double by = job->momentum[p], unbiased = second * job->rows / (job->rows - 1);
            job->running_mean[p][c] += by * (*mean - job->running_mean[p][c]);
            job->running_variance[p][c] += by * (unbiased - job->running_variance[p][c]);
        }
    free(sums);
}

INLINE double NAME(rstd)(const NAME(Job) * job, long p, long c) {
    return job->kind[p] == PLAIN ? 1 : 1 / sqrt((double)job->variance[p * job->width + c] + job->eps[p]);
}

INLINE double NAME(scale)(const NAME(Job) * job, long p, long c) { return job->scale[p] ? job->scale[p][c] : 1; }

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

/* total[t] = (begun[t] ? total[t] : 0) + sum over parts into t of weight * (scale * (value - mean) * rstd + shift). */
void NAME(forward)(const NAME(Job) * job, const REAL *const *value, REAL *const *total, const int *begun) {
    long C = job->width;
    REAL *factor = malloc(job->parts * C * sizeof *factor), *constant = malloc(job->sums * C * sizeof *constant);
    double *level = calloc(job->sums * C, sizeof *level);
    NAME(statistics)(job, value);
    for (long p = 0; p < job->parts; p++)
        for (long c = 0; c < C; c++) {
            double by = job->weight[p] * NAME(scale)(job, p, c) * NAME(rstd)(job, p, c);
            double *at = &level[job->target[p] * C + c];
            factor[p * C + c] = by;
            if (job->kind[p] != PLAIN) *at -= by * job->mean[p * C + c];
            if (job->shift[p]) *at += job->weight[p] * job->shift[p][c];
        }
    for (long i = 0; i < job->sums * C; i++) constant[i] = level[i];
#pragma omp parallel num_threads(job->threads)
    {
        long from, to, ld = job->sum_ld;
        share(job->rows, &from, &to);
        FOR_CHUNKS(from, to) {
            for (long s = 0; s < job->sums; s++)
                WITH_WIDTH(NAME(begin), start, end, total[s], ld, constant + s * C, begun[s])
            for (long p = 0; p < job->parts; p++)
                WITH_WIDTH(NAME(add), start, end, total[job->target[p]], ld, value[p], job->ld[p], factor + p * C)
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

/* out = (first ? 0 : out) + by * g + slope * z + constant; `by` is three rows, one of each. */
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

/* The gradients of all values, weights, scales and shifts, from those of the sums. back[p] is NULL where none is needed;
   the parts of one value add to it. */
void NAME(backward)(const NAME(Job) * job, const REAL *const *value, const REAL *const *gradient, REAL *const *back,
                    REAL *of_weight, REAL *const *of_scale, REAL *const *of_shift) {
    long C = job->width, count = (job->parts + job->sums) * C;
    double *sums = calloc(job->threads * count, sizeof *sums);
    REAL *coefficients = malloc(3 * job->parts * C * sizeof *coefficients), *zero = calloc(C, sizeof *zero);
#pragma omp parallel num_threads(job->threads)
    {
        long from, to, ld = job->sum_ld;
        double *own = sums + omp_get_thread_num() * count;
        share(job->rows, &from, &to);
        FOR_CHUNKS(from, to) {
            for (long p = 0; p < job->parts; p++) {
                const REAL *g = gradient[job->target[p]], *mean = job->kind[p] == PLAIN ? zero : job->mean + p * C;
                WITH_WIDTH(NAME(product), start, end, g, ld, value[p], job->ld[p], mean, own + p * C)
            }
            for (long s = 0; s < job->sums; s++)
                WITH_WIDTH(NAME(level), start, end, gradient[s], ld, own + (job->parts + s) * C)
        }
    }
    for (long t = 1; t < job->threads; t++)
        for (long i = 0; i < count; i++) sums[i] += sums[t * count + i];
    for (long p = 0; p < job->parts; p++) {
        double of = 0;
        REAL *by = coefficients + 3 * p * C;
        for (long c = 0; c < C; c++) {
            double rstd = NAME(rstd)(job, p, c), scale = NAME(scale)(job, p, c);
            double dot = sums[p * C + c] * rstd, level = sums[(job->parts + job->target[p]) * C + c];
            double factor = job->weight[p] * scale * rstd;
            double slope = job->kind[p] == OWN ? -factor * rstd * dot / job->rows : 0;
            of += scale * dot + (job->shift[p] ? level * job->shift[p][c] : 0);
            if (of_scale[p]) of_scale[p][c] = job->weight[p] * dot;
            if (of_shift[p]) of_shift[p][c] = job->weight[p] * level;
            by[c] = factor, by[C + c] = slope;
            by[2 * C + c] = job->kind[p] == OWN ? -factor * level / job->rows - slope * job->mean[p * C + c] : 0;
        }
        of_weight[p] = of;
    }
#pragma omp parallel num_threads(job->threads)
    {
        long from, to, ld = job->sum_ld;
        share(job->rows, &from, &to);
        FOR_CHUNKS(from, to)
            for (long p = 0; p < job->parts; p++) {
                const REAL *g = gradient[job->target[p]], *by = coefficients + 3 * p * C;
                int first = job->same[p] == p;
                if (back[p]) WITH_WIDTH(NAME(spread), start, end, back[p], job->ld[p], g, ld, value[p], by, first)
            }
    }
    free(sums), free(coefficients), free(zero);
}

INLINE void NAME(correlate)(long C, long count, const REAL *restrict g, const REAL *restrict x, long step,
                            double *restrict sum) {
    REAL part[C];
    memset(part, 0, sizeof part);
    for (long r = 0; r < count; r++)
        for (long c = 0; c < C; c++) part[c] += g[r * C + c] * x[r * step + c];
    for (long c = 0; c < C; c++) sum[c] += part[c];
}

/* The gradient (kernel[0], kernel[1], C) of the weights of a depthwise convolution, g being that of its output. */
void NAME(depthwise)(const Window *job, const REAL *x, const REAL *g, REAL *of_weight) {
    long C = job->channels, taps = job->kernel[0] * job->kernel[1], count = taps * C;
    double *sums = calloc(job->threads * count, sizeof *sums);
#pragma omp parallel num_threads(job->threads)
    {
        long from, to;
        double *own = sums + omp_get_thread_num() * count;
        share(job->batch * job->out[0], &from, &to);
        for (long line = from; line < to; line++)
            for (long tap = 0; tap < taps; tap++) {
                long image = line / job->out[0], row = line % job->out[0], first, last;
                long y = row * job->stride[0] + tap / job->kernel[1] * job->dilation[0] - job->padding[0];
                long offset = tap % job->kernel[1] * job->dilation[1] - job->padding[1];
                if (y < 0 || y >= job->height) continue;
                inside(job->width, job->out[1], job->stride[1], offset, &first, &last);
                const REAL *from_g = g + (line * job->out[1] + first) * C;
                const REAL *from_x = x + ((image * job->height + y) * job->width + first * job->stride[1] + offset) * C;
                WITH_WIDTH(NAME(correlate), last - first, from_g, from_x, job->stride[1] * C, own + tap * C)
            }
    }
    for (long i = 0; i < count; i++) {
        double sum = 0;
        for (long t = 0; t < job->threads; t++) sum += sums[t * count + i];
        of_weight[i] = sum;
    }
    free(sums);
}

INLINE void NAME(gather)(long C, REAL *restrict out, long count, long out_step, const REAL *restrict in, long in_step) {
    for (long r = 0; r < count; r++)
        for (long c = 0; c < C; c++) out[r * out_step + c] += in[r * in_step + c];
}

INLINE void NAME(multiply)(long C, long count, REAL *out, const REAL *in, const REAL *restrict by) {
    for (long r = 0; r < count; r++)
        for (long c = 0; c < C; c++) out[r * C + c] = in[r * C + c] * by[r];
}

/* One over the number of pixels in each window, or over its size if the padding is counted. */
static REAL *NAME(shares)(const Window *job, int counted) {
    REAL *shares = malloc(job->out[0] * job->out[1] * sizeof *shares);
    for (long i = 0; i < job->out[0] * job->out[1]; i++) {
        long number = 1, at[2] = {i / job->out[1], i % job->out[1]}, side[2] = {job->height, job->width};
        for (int d = 0; d < 2; d++) {
            long begin = at[d] * job->stride[d] - job->padding[d], end = begin + job->kernel[d];
            number *= counted ? job->kernel[d] : (end < side[d] ? end : side[d]) - (begin > 0 ? begin : 0);
        }
        shares[i] = (REAL)1 / number;
    }
    return shares;
}

INLINE void NAME(plus)(long count, REAL *restrict out, const REAL *restrict in) {
    for (long i = 0; i < count; i++) out[i] += in[i];
}

/* The average of each window: first the sum over its rows, then over its columns. */
void NAME(average)(const Window *job, int counted, const REAL *x, REAL *y) {
    long C = job->channels, columns = job->out[1], size = job->width * C;
    REAL *shares = NAME(shares)(job, counted);
#pragma omp parallel num_threads(job->threads)
    {
        long from, to, first, last;
        REAL *sum = malloc(size * sizeof *sum);
        share(job->batch * job->out[0], &from, &to);
        for (long line = from; line < to; line++) {
            long image = line / job->out[0], row = line % job->out[0];
            REAL *out = y + line * columns * C;
            memset(sum, 0, size * sizeof *sum), memset(out, 0, columns * C * sizeof *out);
            for (long i = 0; i < job->kernel[0]; i++) {
                long at = row * job->stride[0] + i - job->padding[0];
                if (at >= 0 && at < job->height) NAME(plus)(size, sum, x + (image * job->height + at) * size);
            }
            for (long j = -job->padding[1]; j < job->kernel[1] - job->padding[1]; j++) {
                inside(job->width, columns, job->stride[1], j, &first, &last);
                const REAL *in = sum + (first * job->stride[1] + j) * C;
                WITH_WIDTH(NAME(gather), out + first * C, last - first, C, in, job->stride[1] * C)
            }
            WITH_WIDTH(NAME(multiply), columns, out, out, shares + row * columns)
        }
        free(sum);
    }
    free(shares);
}

/* The gradient of x, g being that of the averages; `image` by image, as windows overlap. */
void NAME(average_back)(const Window *job, int counted, const REAL *g, REAL *back) {
    long C = job->channels, columns = job->out[1], size = job->width * C;
    REAL *shares = NAME(shares)(job, counted);
#pragma omp parallel num_threads(job->threads)
    {
        long from, to, first, last;
        REAL *part = malloc(columns * C * sizeof *part), *sum = malloc(size * sizeof *sum);
        share(job->batch, &from, &to);
        for (long image = from; image < to; image++) {
            REAL *out = back + image * job->height * size;
            memset(out, 0, job->height * size * sizeof *out);
            for (long row = 0; row < job->out[0]; row++) {
                const REAL *in = g + (image * job->out[0] + row) * columns * C;
                WITH_WIDTH(NAME(multiply), columns, part, in, shares + row * columns)
                memset(sum, 0, size * sizeof *sum);
                for (long j = -job->padding[1]; j < job->kernel[1] - job->padding[1]; j++) {
                    inside(job->width, columns, job->stride[1], j, &first, &last);
                    REAL *to_sum = sum + (first * job->stride[1] + j) * C;
                    WITH_WIDTH(NAME(gather), to_sum, last - first, job->stride[1] * C, part + first * C, C)
                }
                for (long i = 0; i < job->kernel[0]; i++) {
                    long at = row * job->stride[0] + i - job->padding[0];
                    if (at >= 0 && at < job->height) NAME(plus)(size, out + at * size, sum);
                }
            }
        }
        free(part), free(sum);
    }
    free(shares);
}

#endif
