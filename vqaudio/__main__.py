"""``python -m vqaudio`` is the command line."""

from vqaudio.cli.start import main

if __name__ == "__main__":
    raise SystemExit(main())
