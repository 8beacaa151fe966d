/* The loops of dedup that a processor should run and an interpreter should not.
 *
 * Words, shingles, signatures, candidates, exact similarity, and the choice of what is kept.  `twin.py`
 * says the same in numpy and gives the same bits; the tests hold the two together, so read that file to
 * know *what* is computed and this one to know how it is made quick.
 *
 * Everything here is written for hostile input: no length is trusted that the caller could get wrong
 * (sizes are checked against the buffers, on entry where no more is said), nothing is read outside
 * [start, end) of a text, and memory does not grow with the length of a text, but for the shingles of two
 * items that are compared exactly.  The interpreter lock is released while loops run.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include "_shingles.h"

#include "_pairs.h"

#include "_windows.h"

/* ------------------------------------------------------------------------------- Python's side of it */

typedef struct {
    Py_buffer view[12];
    int n;
} Buffers;

static int fail(Buffers *buffers, const char *message)
{
    for (int i = 0; i < buffers->n; i++)
        PyBuffer_Release(&buffers->view[i]);
    if (message)
        PyErr_SetString(PyExc_ValueError, message);
    return 0;
}

/* Take the buffers of a call: `kinds` has one letter each, r to read and w to write. */
static int take(Buffers *buffers, PyObject *args, const char *kinds)
{
    buffers->n = 0;
    if (PyTuple_Size(args) < (Py_ssize_t)strlen(kinds))
        return fail(buffers, "too few arguments");
    for (; kinds[buffers->n]; buffers->n++) {
        PyObject *item = PyTuple_GetItem(args, buffers->n);
        const int flags = kinds[buffers->n] == 'w' ? PyBUF_WRITABLE : PyBUF_SIMPLE;
        if (!item || PyObject_GetBuffer(item, &buffers->view[buffers->n], flags) < 0)
            return fail(buffers, NULL);
    }
    return 1;
}

static long long number(PyObject *args, Py_ssize_t at)
{
    PyObject *item = PyTuple_GetItem(args, at);
    return item ? PyLong_AsLongLong(item) : -1;
}

static void give_back(Buffers *buffers)
{
    fail(buffers, NULL);
}

#define ITEMS(buffers, i, type) ((buffers).view[i].len / (Py_ssize_t)sizeof(type))

static int segments_fit(const int64_t *starts, const int64_t *ends, Py_ssize_t n, Py_ssize_t size)
{
    for (Py_ssize_t s = 0; s < n; s++)
        if (starts[s] < 0 || ends[s] < starts[s] || ends[s] > size)
            return 0;
    return 1;
}

/* sign(data, starts, ends, rows, groups, signatures, counts, sketches, ngram, file) */
static PyObject *sign(PyObject *self, PyObject *args)
{
    Buffers b;
    (void)self;
    if (!take(&b, args, "rrrrrwww"))
        return NULL;
    const int64_t *starts = b.view[1].buf, *ends = b.view[2].buf, *rows = b.view[3].buf, *groups = b.view[4].buf;
    uint8_t *signatures = b.view[5].buf;
    uint64_t *counts = b.view[6].buf, *sketches = b.view[7].buf;
    const Py_ssize_t segments = ITEMS(b, 1, int64_t), n = ITEMS(b, 4, int64_t), merged = b.view[7].len / (8 * K);
    const long long ngram = number(args, 8), file = number(args, 9);
    int good = !PyErr_Occurred() && file <= INT32_MAX && ITEMS(b, 2, int64_t) == segments &&
               ITEMS(b, 3, int64_t) == n + 1 && b.view[5].len == n * K && ITEMS(b, 6, uint64_t) == n &&
               ngram >= 1 && ngram <= MOST_WORDS;
    for (Py_ssize_t i = 0; good && i < n; i++)
        good = rows[i] >= 0 && rows[i] <= rows[i + 1] && rows[i + 1] <= segments && groups[i] < merged;
    if (!good || !segments_fit(starts, ends, segments, b.view[0].len)) {
        fail(&b, PyErr_Occurred() ? NULL : "sign: sizes do not fit together");
        return NULL;
    }
    Row *row = malloc(sizeof *row);
    uint64_t *held = malloc(8 * HELD);
    if (!row || !held) {
        free(row);
        free(held);
        give_back(&b);
        return PyErr_NoMemory();
    }
    Py_BEGIN_ALLOW_THREADS
    row->data = b.view[0].buf;
    row->starts = starts;
    row->ends = ends;
    row->ngram = (size_t)ngram;
    row->held = held;
    row->out.file = (int)file;
    row->out.n = 0;
    row->out.error = 0;
    for (Py_ssize_t i = 0; i < n; i++) {
        uint64_t bins[K];
        row->first = (size_t)rows[i];
        row->stop = (size_t)rows[i + 1];
        counts[i] = sketch_row(row, bins);
        for (int j = 0; j < K; j++)
            signatures[i * K + j] = (uint8_t)bins[j];
        if (groups[i] >= 0) {
            uint64_t *sketch = sketches + groups[i] * K;
            for (int j = 0; j < K; j++)
                sketch[j] = bins[j] < sketch[j] ? bins[j] : sketch[j];
        }
    }
    writer_flush(&row->out);
    Py_END_ALLOW_THREADS
    const int error = row->out.error;
    free(row);
    free(held);
    give_back(&b);
    if (error) {
        errno = error;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    Py_RETURN_NONE;
}

/* behead(data, starts, ends): move every start behind the licence header of its text */
static PyObject *behead(PyObject *self, PyObject *args)
{
    Buffers b;
    (void)self;
    if (!take(&b, args, "rwr"))
        return NULL;
    const uint8_t *data = b.view[0].buf;
    int64_t *starts = b.view[1].buf;
    const int64_t *ends = b.view[2].buf;
    const Py_ssize_t segments = ITEMS(b, 1, int64_t);
    if (ITEMS(b, 2, int64_t) != segments || !segments_fit(starts, ends, segments, b.view[0].len)) {
        fail(&b, "behead: sizes do not fit together");
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t s = 0; s < segments; s++)
        starts[s] = after_licence(data + starts[s], data + ends[s]) - data;
    Py_END_ALLOW_THREADS
    give_back(&b);
    Py_RETURN_NONE;
}

/* shingle(data, starts, ends, out, ngram) -> how many */
static PyObject *shingle(PyObject *self, PyObject *args)
{
    Buffers b;
    (void)self;
    if (!take(&b, args, "rrrw"))
        return NULL;
    const int64_t *starts = b.view[1].buf, *ends = b.view[2].buf;
    uint64_t *out = b.view[3].buf;
    const Py_ssize_t segments = ITEMS(b, 1, int64_t), room = ITEMS(b, 3, uint64_t);
    const long long ngram = number(args, 4);
    if (ITEMS(b, 2, int64_t) != segments || ngram < 1 || ngram > MOST_WORDS ||
        !segments_fit(starts, ends, segments, b.view[0].len)) {
        fail(&b, "shingle: sizes do not fit together");
        return NULL;
    }
    Py_ssize_t n = 0;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t s = 0; s < segments && n >= 0; s++) {
        uint64_t chunk[MOST];
        Reader reader;
        reader_open(&reader, (const uint8_t *)b.view[0].buf + starts[s], (const uint8_t *)b.view[0].buf + ends[s],
                    (size_t)ngram);
        while (!reader.done) {
            const Py_ssize_t more = (Py_ssize_t)reader_next(&reader, chunk);
            if (more > room - n) {
                n = -1;
                break;
            }
            memcpy(out + n, chunk, 8 * (size_t)more);
            n += more;
        }
    }
    Py_END_ALLOW_THREADS
    give_back(&b);
    if (n < 0) {
        PyErr_SetString(PyExc_ValueError, "shingle: more shingles than there is room for");
        return NULL;
    }
    return PyLong_FromSsize_t(n);
}

/* ------------------------------------------------------------------------------------- what is kept */

typedef struct {
    const uint8_t *settled;
    int64_t *keepers;
    double *similarities;
    uint8_t *exact;
    unsigned low, high;
    PyObject *compare;
} Choice;

#define MOST_DOUBTS 128 /* partners in doubt that a row is compared with: beyond, it is taken to be different */

static void choose_keeper(Choice *c, size_t row, uint32_t keeper, double similarity, int exact)
{
    c->keepers[row] = keeper;
    c->similarities[row] = similarity;
    c->exact[row] = (uint8_t)exact;
}

/* Have the `n` partners in doubt, the likeliest first, compared with `row`; 0 if Python raised. */
static int choose_exactly(Choice *c, const Index *x, size_t row, size_t n)
{
    uint32_t others[MOST_DOUBTS];
    for (size_t i = 0; i < n; i++)
        others[i] = (uint32_t)x->met[i];
    PyObject *answer = PyObject_CallFunction(c->compare, "ny#", (Py_ssize_t)row, (const char *)others, (Py_ssize_t)(4 * n));
    Py_ssize_t place = -1;
    double similarity = 0;
    int good = answer && PyArg_ParseTuple(answer, "nd", &place, &similarity);
    if (good && place >= (Py_ssize_t)n) {
        PyErr_SetString(PyExc_ValueError, "choose: a place beyond the partners");
        good = 0;
    }
    if (good && place >= 0)
        choose_keeper(c, row, others[place], similarity, 1);
    Py_XDECREF(answer);
    return good;
}

/* Best row first: a row goes for the kept partner that is most like it, or is kept and becomes a partner. */
static void choose_all(Index *x, Choice *c)
{
    PyThreadState *state = PyEval_SaveThread();
    int good = 1;
    for (size_t row = 0; good && row < x->n; row++) {
        c->keepers[row] = (int64_t)row;
        c->similarities[row] = c->exact[row] = 1;
        index_keys(x, row);
        size_t met = c->settled[row] ? 0 : index_meet(x, row, c->low);
        qsort(x->met, met, sizeof *x->met, nearer);
        const unsigned same = met ? K - (unsigned)(x->met[0] >> 32) : 0;
        if (met && same >= c->high)
            choose_keeper(c, row, (uint32_t)x->met[0], ((double)same / K - 1.0 / 256) / (1 - 1.0 / 256), 0);
        else if (met) {
            PyEval_RestoreThread(state);
            good = choose_exactly(c, x, row, met < MOST_DOUBTS ? met : MOST_DOUBTS);
            state = PyEval_SaveThread();
        }
        if (c->keepers[row] == (int64_t)row)
            index_add(x, row);
    }
    PyEval_RestoreThread(state);
}

/* choose(signatures, slots, settled, keepers, similarities, exact, bands, rows, low, high, bucket, compare)
 *   compare(row, others) -> (place among others or -1, similarity), others as bytes of uint32 */
static PyObject *choose(PyObject *self, PyObject *args)
{
    Buffers b;
    (void)self;
    if (!take(&b, args, "rrrwww"))
        return NULL;
    Index index = {.signatures = b.view[0].buf, .slots = b.view[1].buf, .n = (size_t)ITEMS(b, 1, int64_t)};
    const Py_ssize_t n = (Py_ssize_t)index.n, slots = b.view[0].len / K;
    const long long bands = number(args, 6), width = number(args, 7), bucket = number(args, 10);
    Choice choice = {.settled = b.view[2].buf, .keepers = b.view[3].buf, .similarities = b.view[4].buf, .exact = b.view[5].buf,
                     .low = (unsigned)number(args, 8), .high = (unsigned)number(args, 9),
                     .compare = PyTuple_GetItem(args, 11)};
    int good = !PyErr_Occurred() && b.view[2].len == n && ITEMS(b, 3, int64_t) == n && ITEMS(b, 4, double) == n &&
               b.view[5].len == n && n < UINT32_MAX && bands >= 1 && width >= 1 && bands <= MOST_BANDS && width <= K &&
               bands * width <= K && bucket >= 1 && bucket <= 1 << 20;
    for (Py_ssize_t i = 0; good && i < n; i++)
        good = index.slots[i] >= 0 && index.slots[i] < slots;
    if (!good) {
        fail(&b, PyErr_Occurred() ? NULL : "choose: sizes do not fit together");
        return NULL;
    }
    index.bands = (size_t)bands;
    index.width = (size_t)width;
    index.bucket = (size_t)bucket;
    const int enough = index_open(&index);
    if (enough)
        choose_all(&index, &choice);
    else
        PyErr_NoMemory();
    index_free(&index);
    give_back(&b);
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

/* similarity(left, right): exact similarity of two lists of shingles, as sets */
static PyObject *similarity(PyObject *self, PyObject *args)
{
    Buffers b;
    (void)self;
    if (!take(&b, args, "rr"))
        return NULL;
    double found;
    Py_BEGIN_ALLOW_THREADS
    found = similarity_of(b.view[0].buf, (size_t)ITEMS(b, 0, uint64_t), b.view[1].buf, (size_t)ITEMS(b, 1, uint64_t));
    Py_END_ALLOW_THREADS
    give_back(&b);
    return found < 0 ? PyErr_NoMemory() : PyFloat_FromDouble(found);
}

/* jaccard(shingles, starts, ends, left, right, out): exact similarity of sets left[i] and right[i] */
static PyObject *jaccard(PyObject *self, PyObject *args)
{
    Buffers b;
    (void)self;
    if (!take(&b, args, "rrrrrw"))
        return NULL;
    const uint64_t *shingles = b.view[0].buf;
    const int64_t *starts = b.view[1].buf, *ends = b.view[2].buf, *left = b.view[3].buf, *right = b.view[4].buf;
    double *out = b.view[5].buf;
    const Py_ssize_t sets = ITEMS(b, 1, int64_t), n = ITEMS(b, 3, int64_t);
    int good = ITEMS(b, 2, int64_t) == sets && ITEMS(b, 4, int64_t) == n && ITEMS(b, 5, double) == n &&
               segments_fit(starts, ends, sets, ITEMS(b, 0, uint64_t));
    for (Py_ssize_t i = 0; good && i < n; i++)
        good = left[i] >= 0 && left[i] < sets && right[i] >= 0 && right[i] < sets;
    if (!good) {
        fail(&b, "jaccard: sizes do not fit together");
        return NULL;
    }
    int enough = 1;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t i = 0; enough && i < n; i++) {
        const int64_t l = left[i], r = right[i];
        out[i] = similarity_of(shingles + starts[l], (size_t)(ends[l] - starts[l]), shingles + starts[r],
                               (size_t)(ends[r] - starts[r]));
        enough = out[i] >= 0;
    }
    Py_END_ALLOW_THREADS
    give_back(&b);
    if (!enough)
        return PyErr_NoMemory();
    Py_RETURN_NONE;
}

#include "_shelf.h"

#include "_repeats.h"

static PyMethodDef methods[] = {
    {"behead", behead, METH_VARARGS, "Starts of texts behind their licence headers."},
    {"sign", sign, METH_VARARGS, "Signatures of rows, and the merged sketches of their groups."},
    {"shingle", shingle, METH_VARARGS, "The shingles of segments of text."},
    {"first_similar", first_similar, METH_VARARGS, "The first of some items that is similar to another."},
    {"similarity", similarity, METH_VARARGS, "Exact similarity of two lists of shingles."},
    {"jaccard", jaccard, METH_VARARGS, "Exact similarity of pairs of shingle sets."},
    {"choose", choose, METH_VARARGS, "Which rows are kept, and whom the others go for."},
    {"windows", windows, METH_VARARGS, "Hash and place of every window of words."},
    {"deal", deal, METH_VARARGS, "Records dealt into bins by their hash."},
    {"firsts", firsts, METH_VARARGS, "Where the hash of each record stands first."},
    {"cover", cover, METH_VARARGS, "Spans that cover repeated windows, compared byte by byte."},
    {"characters", characters, METH_VARARGS, "Offsets in bytes as offsets in characters."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "_kernel", .m_size = -1, .m_methods = methods};

PyMODINIT_FUNC PyInit__kernel(void)
{
#ifdef HAVE_AVX2_BUILD
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt")) {
        word_masks = masks_avx2;
        same_bins = same_avx2;
    }
#endif
    return PyModule_Create(&module);
}
