/* Python's side of `_windows.h`: sizes are checked here.  Included by `_kernel.c` alone. */

static int stretches_fit(const Stretch *stretches, Py_ssize_t n, Py_ssize_t size)
{
    for (const Stretch *p = stretches; p < stretches + n; p++)
        if (p->row < 0 || p->row > UINT32_MAX || p->origin < 0 || p->start < p->origin || p->begin < p->start ||
            p->until < p->begin || p->end < p->until || p->end > size || p->end - p->origin > UINT32_MAX)
            return 0;
    return 1;
}

/* windows(data, stretches, out, n) -> how many */
static PyObject *windows(PyObject *self, PyObject *args)
{
    Buffers b;
    (void)self;
    if (!take(&b, args, "rrw"))
        return NULL;
    const Py_ssize_t stretches = ITEMS(b, 1, Stretch), room = ITEMS(b, 2, Record);
    const long long n = number(args, 3);
    if (n < 1 || n > MOST_WINDOW || !stretches_fit(b.view[1].buf, stretches, b.view[0].len)) {
        fail(&b, "windows: sizes do not fit together");
        return NULL;
    }
    Windows *w = malloc(sizeof *w);
    Py_ssize_t found = 0;
    Py_BEGIN_ALLOW_THREADS
    if (w)
        found = windows_all(w, b.view[0].buf, b.view[1].buf, (size_t)stretches, (size_t)n, b.view[2].buf, room);
    Py_END_ALLOW_THREADS
    give_back(&b);
    if (!w)
        return PyErr_NoMemory();
    free(w);
    if (found < 0) {
        PyErr_SetString(PyExc_ValueError, "windows: more windows than there is room for");
        return NULL;
    }
    return PyLong_FromSsize_t(found);
}

/* deal(records, out, bounds): by the top bits of the hash into as many bins as bounds has room for, a power of 2 */
static PyObject *deal(PyObject *self, PyObject *args)
{
    Buffers b;
    (void)self;
    if (!take(&b, args, "rww"))
        return NULL;
    const Py_ssize_t bins = ITEMS(b, 2, int64_t) - 1;
    int bits = 0;
    while (bits < 16 && (Py_ssize_t)1 << bits < bins)
        bits++;
    if (bins < 1 || (Py_ssize_t)1 << bits != bins || b.view[0].len != b.view[1].len || b.view[0].len % sizeof(Record)) {
        fail(&b, "deal: sizes do not fit together");
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    deal_records(b.view[0].buf, (size_t)ITEMS(b, 0, Record), bits, b.view[1].buf, b.view[2].buf);
    Py_END_ALLOW_THREADS
    give_back(&b);
    Py_RETURN_NONE;
}

/* firsts(records, ranks, out): by record, the first place in order of rank that has its hash */
static PyObject *firsts(PyObject *self, PyObject *args)
{
    Buffers b;
    (void)self;
    if (!take(&b, args, "rrw"))
        return NULL;
    const Record *records = b.view[0].buf;
    const Py_ssize_t n = ITEMS(b, 0, Record);
    const uint64_t rows = (uint64_t)ITEMS(b, 1, int64_t);
    int good = b.view[0].len % sizeof(Record) == 0 && ITEMS(b, 2, uint64_t) == n && n < AGAIN;
    for (Py_ssize_t i = 0; good && i < n; i++)
        good = records[i].place >> 32 < rows;
    if (!good) {
        fail(&b, "firsts: sizes do not fit together");
        return NULL;
    }
    int enough;
    Py_BEGIN_ALLOW_THREADS
    enough = first_places(records, (size_t)n, b.view[1].buf, b.view[2].buf);
    Py_END_ALLOW_THREADS
    give_back(&b);
    if (!enough)
        return PyErr_NoMemory();
    Py_RETURN_NONE;
}

/* cover(data, texts, stretches, repeats, out, n) -> how many spans; sorts `repeats` */
static PyObject *cover(PyObject *self, PyObject *args)
{
    Buffers b;
    (void)self;
    if (!take(&b, args, "rrrww"))
        return NULL;
    const int64_t *texts = b.view[1].buf;
    const Stretch *stretches = b.view[2].buf;
    const Py_ssize_t rows = ITEMS(b, 1, int64_t) / 2, n_stretches = ITEMS(b, 2, Stretch), repeats = ITEMS(b, 3, Repeat);
    const long long n = number(args, 5);
    if (n < 1 || n > MOST_WINDOW || !stretches_fit(stretches, n_stretches, b.view[0].len)) {
        fail(&b, "cover: sizes do not fit together");
        return NULL;
    }
    Cover c = {.data = b.view[0].buf, .size = b.view[0].len, .texts = texts, .rows = (size_t)rows,
               .out = b.view[4].buf, .room = ITEMS(b, 4, Span)};
    Windows *w = malloc(sizeof *w);
    Repeat *spare = malloc(((size_t)repeats + 1) * sizeof *spare);
    const int enough = w && spare;
    Py_BEGIN_ALLOW_THREADS
    if (enough) {
        sort_repeats(b.view[3].buf, spare, (size_t)repeats);
        cover_all(&c, w, stretches, (size_t)n_stretches, (size_t)n, b.view[3].buf, (size_t)repeats);
    }
    Py_END_ALLOW_THREADS
    free(w);
    free(spare);
    give_back(&b);
    if (!enough)
        return PyErr_NoMemory();
    if (c.n > c.room) {
        PyErr_SetString(PyExc_ValueError, "cover: more spans than there is room for");
        return NULL;
    }
    return PyLong_FromSsize_t(c.n);
}

/* characters(data, origins, places, out): how many characters of UTF-8 begin in [origins[i], places[i]) */
static PyObject *characters(PyObject *self, PyObject *args)
{
    Buffers b;
    (void)self;
    if (!take(&b, args, "rrrw"))
        return NULL;
    const uint8_t *data = b.view[0].buf;
    const int64_t *origins = b.view[1].buf, *places = b.view[2].buf;
    int64_t *out = b.view[3].buf;
    const Py_ssize_t n = ITEMS(b, 1, int64_t);
    if (ITEMS(b, 2, int64_t) != n || ITEMS(b, 3, int64_t) != n || !segments_fit(origins, places, n, b.view[0].len)) {
        fail(&b, "characters: sizes do not fit together");
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t i = 0; i < n; i++) {
        const int goes_on = i && origins[i] == origins[i - 1] && places[i] >= places[i - 1];
        int64_t count = goes_on ? out[i - 1] : 0;
        for (int64_t at = goes_on ? places[i - 1] : origins[i]; at < places[i]; at++)
            count += (data[at] & 0xC0) != 0x80;
        out[i] = count;
    }
    Py_END_ALLOW_THREADS
    give_back(&b);
    Py_RETURN_NONE;
}
