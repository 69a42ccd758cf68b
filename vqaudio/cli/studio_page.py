"""The studio's page, in Gradio (the extra ``studio``). An event gets all that it needs from its own inputs, and answers
with HTML: nothing of one visitor is kept where another would meet it."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vqaudio.cli import studio_view as view
from vqaudio.cli.studio_work import MOST_PICTURES, Result, Studio, Take
from vqaudio.errors import VqaudioError
from vqaudio.io.extras import needed

NOBODY, REFERENCE = "nobody: do not convert", "the recording below"
KEEP, OWN = "of the original", "of the voice"
CONSENT = "Take on a voice only with the consent of whoever it is. Do not pass the result off as a recording of them."
_CHOOSE = (
    f"(own, voice) => own ? {json.dumps(REFERENCE)} : voice === {json.dumps(REFERENCE)} ? {json.dumps(NOBODY)} : voice"
)
_AT_ONCE = 2  # requests at work; others wait
_WAITING = 16
_LARGEST_SEED = 2**53  # that a browser's numbers hold exactly


def _answered(studio: Studio, work: Callable[[], Result], show: Callable[[Result], str]) -> str:
    """The page's answer, or the one line of what went wrong."""
    try:
        result = work()
        return view.notes(result.lines) + show(result)
    except Exception as error:  # also a bug of ours: its line asks for a report
        return view.failure(studio.line_of(error))


def _sizes(facts: Mapping[str, Any]) -> dict[str, str]:
    shown = {"length": f"{facts['duration_s']:.2f} s"} if "duration_s" in facts else {}
    if "width" in facts:
        shown["size"] = f"{facts['width']} x {facts['height']} pixels"
    if "bytes" in facts:
        shown["bytes of the .vqa file"] = f"{facts['bytes']:,}"
    if facts.get("bits_per_second") is not None:
        shown["bit rate, all bytes"] = f"{facts['bits_per_second'] / 1000:.2f} kb/s"
        pcm = 16 * facts["sample_rate_hz"] * facts["channels"]
        shown["the same as 16-bit PCM"] = f"{pcm / 1000:.0f} kb/s, {pcm / facts['bits_per_second']:.0f} times as much"
    if "bits_per_pixel" in facts:
        shown["bits a pixel, all bytes"] = f"{facts['bits_per_pixel']:.3f} (24 uncompressed)"
    return shown


def _show_take(result: Result) -> str:
    labels = {"original": "Original", "decoded": "Decoded", "converted": "Converted"}
    figures = [view.sound(label, result.files[role], role) for role, label in labels.items() if role in result.files]
    return view.sounds(figures) + _coda(result)


def _show_draw(result: Result) -> str:
    return view.sounds([view.sound("New speech", result.files["sample"], "sample")]) + _coda(result)


def _show_picture(result: Result) -> str:
    labels = {"original": "Original", "decoded": "Decoded"}
    figures = [view.picture(label, result.files[role], f"picture-{role}") for role, label in labels.items()]
    return view.sounds(figures) + _coda(result)


def _show_pictures(result: Result) -> str:
    return view.sounds([view.picture("New pictures", result.files["sample"], "pictures")]) + _coda(result)


def _coda(result: Result) -> str:
    strip = view.code_strip(result.codes) if result.codes is not None else ""
    link = view.download(result.files["stream"]) if "stream" in result.files else ""
    return view.facts(_sizes(result.facts)) + strip + link


def _path(name: str | None) -> Path | None:
    return Path(name) if name else None


def _given(name: str | None, what: str) -> Path:
    if not name:
        raise VqaudioError(f"there is no {what} yet: drop one above")
    return Path(name)


def _take_of(sound: str | None, temperature: float, seed: float, voice: str, reference: str | None, pitch: str) -> Take:
    """What the page's controls ask for; ``VqaudioError`` where something is missing."""
    named = None if voice in (NOBODY, REFERENCE) else voice
    own = _given(reference, "recording of whoever is to speak") if voice == REFERENCE else None
    return Take(_given(sound, "sound"), int(seed), float(temperature), named, own, pitch == KEEP)


class Page:
    """Builds the page over a :class:`Studio`; ``gradio`` is the module."""

    def __init__(self, studio: Studio) -> None:
        self._gr: Any = needed("gradio", "studio", "the studio")
        needed("matplotlib", "studio", "the studio")
        self._studio = studio

    def build(self) -> Any:
        """The page, to be launched."""
        gr = self._gr
        with gr.Blocks(title="vqaudio studio", analytics_enabled=False, delete_cache=(600, 3600)) as page:
            gr.Markdown("# vqaudio studio\nEverything stays on this machine.")
            with gr.Tab("Sound"):
                self._sound_tab()
            with gr.Tab("New speech"):
                self._draw_tab()
            with gr.Tab("Pictures"):
                self._picture_tab()
        page.queue(max_size=_WAITING, default_concurrency_limit=_AT_ONCE)
        return page

    def looks(self) -> dict[str, Any]:
        """What ``launch`` is told of the page's looks: fonts that are there, nothing fetched from elsewhere."""
        fonts = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
        return {"theme": self._gr.themes.Default(**fonts), "css": view.CSS}

    def _on(self, button: Any, work: Callable[..., str], inputs: list[Any], output: Any) -> None:
        """A click does ``work``; how far it is shows on ``output``. All work waits in one queue."""
        button.click(work, inputs, output, concurrency_id="work", api_visibility="private")

    def _teller(self, progress: Any) -> Callable[[float, str], None]:
        return lambda share, what: progress(share, desc=what)

    def _seed(self) -> Any:
        return self._gr.Number(0, label="Seed", precision=0, minimum=0, maximum=_LARGEST_SEED)

    def _temperature(self) -> Any:
        return self._gr.Slider(0.1, 1.5, 1.0, step=0.05, label="Temperature: less is more cautious")

    def _sound_tab(self) -> None:
        gr, studio = self._gr, self._studio
        with gr.Row():
            with gr.Column():
                most = f"up to {studio.limits.sound_s:g} s"
                sound = self._recorder(f"Sound: record, or drop a file, {most}", "sound")
                with gr.Row():
                    temperature, seed = self._temperature(), self._seed()
            with gr.Column():
                choices = [NOBODY, REFERENCE, *studio.speakers()]
                voice = gr.Dropdown(choices, value=NOBODY, label="Also say it in the voice of", elem_id="voice")
                reference = self._recorder("Own voice: 3 s or more of one person", "reference")
                pitch = gr.Radio([OWN, KEEP], value=OWN, label="Pitch of the converted sound")
                gr.Markdown(CONSENT)
        button, output = gr.Button("Code it", variant="primary", elem_id="code"), gr.HTML(elem_id="heard")
        reference.change(None, [reference, voice], voice, js=_CHOOSE, api_visibility="private")

        def work(
            sound: str | None,
            temperature: float,
            seed: float,
            voice: str,
            reference: str | None,
            pitch: str,
            progress: Any = gr.Progress(),  # noqa: B008  # how Gradio is asked for it
        ) -> str:
            tell = self._teller(progress)
            take = lambda: studio.take(_take_of(sound, temperature, seed, voice, reference, pitch), tell)  # noqa: E731
            return _answered(studio, take, _show_take)

        self._on(button, work, [sound, temperature, seed, voice, reference, pitch], output)

    def _recorder(self, label: str, name: str) -> Any:
        sources = ["upload", "microphone"]
        return self._gr.Audio(sources=sources, type="filepath", label=label, elem_id=name, editable=False, buttons=[])

    def _draw_tab(self) -> None:
        gr, studio = self._gr, self._studio
        with gr.Row():
            with gr.Column():
                longest = min(30.0, studio.limits.sound_s)
                seconds = gr.Slider(1, longest, min(5.0, longest), step=1, label="Seconds of new sound")
                with gr.Row():
                    temperature, seed = self._temperature(), self._seed()
                top_p = gr.Slider(0.05, 1.0, 1.0, step=0.05, label="Top p: draw from the likeliest tokens alone")
            prompt = self._recorder("Prompt, if you like: it goes on from there", "prompt")
        button, output = gr.Button("Speak", variant="primary", elem_id="speak"), gr.HTML(elem_id="spoken")

        def work(
            seconds: float,
            temperature: float,
            seed: float,
            top_p: float,
            prompt: str | None,
            progress: Any = gr.Progress(),  # noqa: B008  # how Gradio is asked for it
        ) -> str:
            tell, opening = self._teller(progress), _path(prompt)
            draw = lambda: studio.draw(seconds, int(seed), temperature, top_p, opening, tell)  # noqa: E731
            return _answered(studio, draw, _show_draw)

        self._on(button, work, [seconds, temperature, seed, top_p, prompt], output)

    def _picture_tab(self) -> None:
        gr, studio = self._gr, self._studio
        kinds = [".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm"]
        picture = gr.File(file_types=kinds, label="Picture", elem_id="picture", height=140)
        button, output = gr.Button("Code it", variant="primary", elem_id="code-picture"), gr.HTML(elem_id="seen")

        def code(path: str | None, progress: Any = gr.Progress()) -> str:  # noqa: B008
            tell = self._teller(progress)
            return _answered(studio, lambda: studio.picture(_given(path, "picture"), tell), _show_picture)

        self._on(button, code, [picture], output)
        with gr.Row():
            count = gr.Slider(1, MOST_PICTURES, 16, step=1, label="New pictures")
            temperature, seed = self._temperature(), self._seed()
        fresh, drawn = gr.Button("Draw", elem_id="draw"), gr.HTML(elem_id="drawn")

        def draw(count: float, temperature: float, seed: float, progress: Any = gr.Progress()) -> str:  # noqa: B008
            tell = self._teller(progress)
            return _answered(
                studio, lambda: studio.draw_pictures(int(count), int(seed), temperature, tell), _show_pictures
            )

        self._on(fresh, draw, [count, temperature, seed], drawn)
