"""Files in, files out: sound, pictures, resampling, and writing that is whole or not at all."""
