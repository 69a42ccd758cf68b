"""``python -m vqaudio`` is the command line."""

from vqaudio.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
