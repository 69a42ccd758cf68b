/* What libFuzzer is pointed at. README.md says how. Where VQAUDIO_FUZZ_MODEL names a model's folder it tries streams of
   that model; else it tries models: the size of a configuration in two bytes, the configuration, then weights.

   A changed stream is given right checksums again before it is tried, or nothing behind a checksum would ever be
   reached. With -DFUZZ_ALONE it is a program by itself that tries the files it is given, whichever compiler there is. */

#include "vqaudio.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_BYTES (1 << 25)
#define MOST_TOKENS 16 /* of a stream whose sound is made, too: which takes long where every step is checked */

typedef struct bytes {
    uint8_t *data;
    size_t size, at;
} bytes;

static bytes weights, config;
static vqaudio_model *model;

static bytes file_bytes(const char *folder, const char *name)
{
    char path[4096];
    bytes found = {NULL, 0, 0};
    FILE *file;
    snprintf(path, sizeof path, "%s%s%s", folder, *folder ? "/" : "", name);
    file = fopen(path, "rb");
    found.data = malloc(MOST_BYTES);
    if (file == NULL || found.data == NULL) {
        fprintf(stderr, "fuzz: %s cannot be read\n", path);
        exit(2);
    }
    found.size = fread(found.data, 1, MOST_BYTES, file);
    fclose(file);
    return found;
}

/* Loads the model that streams are tried with. */
static void begin(const char *folder)
{
    vqaudio_error error;
    weights = file_bytes(folder, "model.safetensors");
    config = file_bytes(folder, "config.json");
    model = vqaudio_load(weights.data, weights.size, config.data, config.size, &error);
    if (model == NULL) {
        fprintf(stderr, "fuzz: %s\n", error.text);
        exit(2);
    }
}

static size_t read_bytes(void *from, uint8_t *to, size_t most)
{
    bytes *b = from;
    size_t count = b->size - b->at < most ? b->size - b->at : most;
    memcpy(to, b->data + b->at, count);
    b->at += count;
    return count;
}

static void must(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "fuzz: %s\n", what);
        abort();
    }
}

/* All codes of a stream, and the sound of a short one. */
static void try_stream(const vqaudio_model *with, const uint8_t *data, size_t size)
{
    bytes source = {(uint8_t *)data, size, 0};
    vqaudio_options options = {1, 0, NULL, NULL};
    vqaudio_info info;
    vqaudio_error error;
    vqaudio_stream *stream = vqaudio_open(with, read_bytes, &source, &options, &info, &error);
    uint64_t given = 0;
    size_t count, i;
    must((stream == NULL) == (error.status != VQAUDIO_OK) && (stream == NULL) == (error.text[0] != 0),
         "no reason given");
    if (stream == NULL)
        return;
    if ((uint64_t)info.channels * info.tokens_per_range < (1 << 22) && info.tokens < (1 << 22)) {
        uint16_t *codes = malloc(2 * (size_t)info.channels * info.tokens_per_range);
        while (codes != NULL && (count = vqaudio_codes(stream, codes, &error)) > 0) {
            for (i = 0; i < count * info.channels; i++)
                must(codes[i] < info.codebook_size, "a code that is none");
            given += count;
        }
        must(codes == NULL || error.status != VQAUDIO_OK || given == info.tokens, "codes are missing");
        free(codes);
    }
    vqaudio_close(stream);
    if (info.tokens * info.channels > MOST_TOKENS)
        return;
    source.at = 0;
    stream = vqaudio_open(with, read_bytes, &source, &options, &info, &error);
    must(stream != NULL || error.status == VQAUDIO_NO_MEMORY, "refused at the second time");
    for (given = 0; stream != NULL && given < info.output_frames; given += count) {
        static float sound[1000 * MOST_TOKENS];
        count = vqaudio_sound(stream, sound, 1000, &error);
        must(count > 0 || error.status != VQAUDIO_OK, "the sound ends too soon");
        if (count == 0)
            break;
        for (i = 0; i < count * info.channels; i++)
            must(sound[i] - sound[i] == 0, "a sample is not finite");
    }
    vqaudio_close(stream);
}

/* A model out of one file. */
static void try_model(const uint8_t *data, size_t size)
{
    size_t own = size < 2 ? 0 : (size_t)data[0] + 256 * (size_t)data[1];
    vqaudio_model *loaded;
    vqaudio_error error;
    if (size < 2 || own > size - 2)
        return;
    loaded = vqaudio_load(data + 2 + own, size - 2 - own, data + 2, own, &error);
    must((loaded == NULL) == (error.status != VQAUDIO_OK), "no reason given");
    vqaudio_unload(loaded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *folder = getenv("VQAUDIO_FUZZ_MODEL");
    if (folder == NULL) {
        try_model(data, size);
        return 0;
    }
    if (model == NULL)
        begin(folder);
    try_stream(model, data, size);
    return 0;
}

/* ----------------------------------------------------------------------------------------------------- checksums */

static uint32_t crc32_slowly(const uint8_t *data, size_t size)
{
    uint32_t crc = ~0u;
    int bit;
    while (size--)
        for (crc ^= *data++, bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    return ~crc;
}

static void put_crc(uint8_t *data, size_t size)
{
    uint32_t crc = crc32_slowly(data, size);
    int i;
    for (i = 0; i < 4; i++)
        data[size + (size_t)i] = (uint8_t)(crc >> (8 * i));
}

/* Gives the header, and every block that ends within the data, the checksum that it should have. */
static void seal(uint8_t *data, size_t size)
{
    size_t at, length;
    if (size < 50)
        return;
    at = 50 + 6 * ((size_t)data[39] + data[37]) + 4 * ((size_t)data[44] + 256 * (size_t)data[45]);
    if (at + 4 > size)
        return;
    put_crc(data, at);
    for (at += 4; at + 12 <= size;) {
        length = data[at + 5] + 256 * (size_t)data[at + 6] + 65536 * (size_t)data[at + 7];
        if (data[at] != 0xb5 || data[at + 1] != 0x4e || at + 12 + length > size) {
            at++;
            continue;
        }
        put_crc(data + at + 2, 6 + length);
        at += 12 + length;
    }
}

#ifdef FUZZ_ALONE

int main(int count, char **words)
{
    int i;
    for (i = 1; i < count; i++) {
        bytes found = file_bytes("", words[i]);
        LLVMFuzzerTestOneInput(found.data, found.size);
        if (model != NULL) {
            seal(found.data, found.size);
            LLVMFuzzerTestOneInput(found.data, found.size);
        }
        free(found.data);
    }
    printf("%d tried\n", i - 1);
    vqaudio_unload(model);
    free(weights.data);
    free(config.data);
    return 0;
}

#else

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned int seed);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned int seed)
{
    size = LLVMFuzzerMutate(data, size, most);
    if (model != NULL && seed % 8) /* some keep what is wrong */
        seal(data, size);
    return size;
}

#endif
