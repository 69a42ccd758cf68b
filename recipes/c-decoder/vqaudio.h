/* Decodes .vqa streams of speech (docs/format.md) without Python: C99, libm and nothing else.

   Load a model's two files once, open as many streams with it as there are, pull codes or sound out of each. A model
   never changes once it is loaded: threads may share it. A stream belongs to one thread at a time. Nothing is kept
   between calls but in these two, and nothing here prints, opens a file or ends the program.

   What is damaged in a stream behind its header is silent in the sound, and told to `lost`; only what makes all of it
   worthless is an error. */

#ifndef VQAUDIO_H
#define VQAUDIO_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum vqaudio_status {
    VQAUDIO_OK = 0,
    VQAUDIO_NO_STREAM,     /* the bytes are no .vqa stream, or of a version that is not known */
    VQAUDIO_DAMAGED,       /* the header is damaged beyond repair, or contradicts itself */
    VQAUDIO_OTHER_MODEL,   /* the stream's codes are of another model */
    VQAUDIO_BAD_MODEL,     /* the model's files are damaged, or do not fit each other */
    VQAUDIO_NOT_SUPPORTED, /* a picture, a rate out of range, a kind of model that this decoder does not speak */
    VQAUDIO_NO_MEMORY
} vqaudio_status;

/* What went wrong, and a line for people. Every function that takes one sets it, VQAUDIO_OK and "" included. */
typedef struct vqaudio_error {
    vqaudio_status status;
    char text[192];
} vqaudio_error;

typedef struct vqaudio_model vqaudio_model;
typedef struct vqaudio_stream vqaudio_stream;

/* Puts up to `most` bytes into `bytes`; returns how many, 0 only at the end. As fread, it may give fewer. */
typedef size_t (*vqaudio_read)(void *from, uint8_t *bytes, size_t most);

/* Is told of each block that is lost: tokens first to end - 1 of a channel. */
typedef void (*vqaudio_lost)(void *listener, int channel, uint64_t first, uint64_t end);

/* How a stream is decoded; zeros are the defaults. */
typedef struct vqaudio_options {
    uint64_t seed;           /* of the noise; the same as Python's `seed` */
    uint32_t sample_rate_hz; /* of the sound, 1000 to 768000; 0: the original's */
    vqaudio_lost lost;       /* may be NULL */
    void *listener;          /* goes to `lost` */
} vqaudio_options;

/* What a stream's header says. */
typedef struct vqaudio_info {
    uint32_t sample_rate_hz; /* of the original */
    uint32_t channels;
    uint64_t frames;           /* samples of a channel of the original */
    uint64_t output_frames;    /* those that vqaudio_sound gives, at the rate that was asked for */
    uint32_t output_rate_hz;   /* that rate */
    uint64_t tokens;           /* of a channel */
    uint32_t tokens_per_range; /* the most that one call of vqaudio_codes gives of a channel */
    uint32_t codebook_size;
    uint32_t num_quantizers; /* tokens of a vector */
    int prior_coded;         /* 0: packed */
} vqaudio_info;

/* The model whose folder has these files, `model.safetensors` and `config.json`, whole in memory; both may be freed
   afterwards. NULL where they are damaged or too little memory is left. */
vqaudio_model *vqaudio_load(const void *weights, size_t weight_bytes, const void *config, size_t config_bytes,
                            vqaudio_error *error);

void vqaudio_unload(vqaudio_model *model);

/* Reads a stream's header from `read(from, ...)`. `options` and `info` may be NULL. NULL where the stream is refused.
   The model must outlive the stream. */
vqaudio_stream *vqaudio_open(const vqaudio_model *model, vqaudio_read read, void *from, const vqaudio_options *options,
                             vqaudio_info *info, vqaudio_error *error);

/* The next codes, n of each channel: all of the first channel, then of the second ... into `codes`, which has room for
   channels * tokens_per_range. Returns n, 0 at the end or on an error. A lost code repeats the last good one of its
   channel. One stream gives codes or sound, not both. */
size_t vqaudio_codes(vqaudio_stream *stream, uint16_t *codes, vqaudio_error *error);

/* The next sound, at its level, full scale 1.0, channels interleaved: up to `frames` of them into `sound`. Returns how
   many, 0 at the end or on an error; they are exactly `output_frames` in all. */
size_t vqaudio_sound(vqaudio_stream *stream, float *sound, size_t frames, vqaudio_error *error);

void vqaudio_close(vqaudio_stream *stream);

#ifdef __cplusplus
}
#endif

#endif
