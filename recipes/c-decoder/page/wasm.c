/* What the page calls: a model and a stream, each in memory that the page fills. */

#include "../vqaudio.h"

#include <stdlib.h>
#include <string.h>

#define EXPORT(name) __attribute__((export_name(name)))

typedef struct bytes {
    const uint8_t *data;
    size_t size, at;
} bytes;

static vqaudio_model *model;
static vqaudio_stream *stream;
static vqaudio_info info;
static vqaudio_error error;
static bytes source;
static uint32_t lost;

static size_t read_bytes(void *from, uint8_t *to, size_t most)
{
    bytes *b = from;
    size_t count = b->size - b->at < most ? b->size - b->at : most;
    memcpy(to, b->data + b->at, count);
    b->at += count;
    return count;
}

static void count_lost(void *of, int channel, uint64_t first, uint64_t end)
{
    (void)of, (void)channel, (void)first, (void)end;
    lost++;
}

EXPORT("take") void *page_take(size_t size)
{
    return malloc(size);
}

EXPORT("give_back") void page_give_back(void *memory)
{
    free(memory);
}

/* A line that says what was wrong, "" where all was well. */
EXPORT("error_text") const char *page_error_text(void)
{
    return error.text;
}

EXPORT("load") int page_load(const void *weights, size_t weight_bytes, const void *config, size_t config_bytes)
{
    vqaudio_close(stream);
    vqaudio_unload(model);
    stream = NULL;
    model = vqaudio_load(weights, weight_bytes, config, config_bytes, &error);
    return model != NULL;
}

/* Opens a stream that stays where it is as long as it is read. */
EXPORT("open") int page_open(const uint8_t *data, size_t size, uint32_t seed)
{
    vqaudio_options options = {0, 0, count_lost, NULL};
    options.seed = seed;
    vqaudio_close(stream);
    source.data = data;
    source.size = size;
    source.at = 0;
    lost = 0;
    stream = vqaudio_open(model, read_bytes, &source, &options, &info, &error);
    return stream != NULL;
}

EXPORT("channels") uint32_t page_channels(void)
{
    return info.channels;
}

EXPORT("rate_hz") uint32_t page_rate_hz(void)
{
    return info.output_rate_hz;
}

EXPORT("frames") double page_frames(void)
{
    return (double)info.output_frames;
}

/* Blocks lost so far. */
EXPORT("lost") uint32_t page_lost(void)
{
    return lost;
}

EXPORT("sound") size_t page_sound(float *sound, size_t frames)
{
    return vqaudio_sound(stream, sound, frames, &error);
}

EXPORT("codes") size_t page_codes(uint16_t *codes)
{
    return vqaudio_codes(stream, codes, &error);
}
