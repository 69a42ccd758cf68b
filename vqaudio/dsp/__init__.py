"""Signal processing: levels, loudness, spectra, pitch, envelopes, excitation."""
