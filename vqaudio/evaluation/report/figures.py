"""What each figure is called, which way is better, and how it is printed."""

from dataclasses import dataclass

from vqaudio.evaluation.metrics import Mean


@dataclass(frozen=True)
class Figure:
    """``better`` is "higher", "lower" or, where neither is, ""; values are printed ``scale`` times as large."""

    label: str
    better: str = ""
    digits: int = 2
    scale: float = 1.0

    def format(self, value: float | None) -> str:
        """``value`` as it is printed; a dash for none or NaN."""
        return "–" if value is None or value != value else f"{value * self.scale:.{self.digits}f}"

    def format_spread(self, mean: Mean) -> str:
        """The mean and half the width of its interval."""
        return f"{self.format(mean.value)} ±{self.format((mean.high - mean.low) / 2)}"

    def format_mean(self, mean: Mean) -> str:
        """The mean and its interval."""
        if mean.count < 2:
            return self.format(mean.value)
        return f"{self.format(mean.value)} [{self.format(mean.low)}, {self.format(mean.high)}]"


FIGURES = {
    "bits_per_second": Figure("kb/s, all bytes of the file", "lower", 2, 1e-3),
    "packed_bits_per_second": Figure("kb/s, codes packed", "lower", 2, 1e-3),
    "payload_bits_per_second": Figure("kb/s, without the container", "lower", 2, 1e-3),
    "word_error_rate": Figure("word error rate", "lower", 3),
    "word_error_rate_original": Figure("word error rate of the original", "", 3),
    "speaker_similarity": Figure("speaker similarity", "higher"),
    "stoi": Figure("STOI", "higher", 3),
    "estoi": Figure("ESTOI", "higher", 3),
    "pesq_nb": Figure("PESQ, narrow band", "higher"),
    "pesq_wb": Figure("PESQ, wide band", "higher"),
    "mel_distance_db": Figure("log-mel distance, dB", "lower"),
    "pitch_error_cents": Figure("pitch error, cents", "lower", 0),
    "voicing_error": Figure("voicing error", "lower", 3),
    "distillmos": Figure("DistillMOS", "higher"),
    "distillmos_original": Figure("DistillMOS of the original"),
    "dnsmos": Figure("DNSMOS, overall", "higher"),
    "dnsmos_original": Figure("DNSMOS, overall, of the original"),
    "bits_per_sample": Figure("bits a sample", "lower", 3),
    "bits_per_sample_shuffled": Figure("bits a sample, codes of another sound", "higher", 3),
    "bits_per_token": Figure("bits a token, learnt prior", "lower"),
    "bound_uniform_prior": Figure("likelihood bound, bits a sample, uniform prior", "lower", 3),
    "bound_learnt_prior": Figure("likelihood bound, bits a sample, learnt prior", "lower", 3),
    "bound_bits_per_second": Figure("likelihood bound, kbit a second of sound", "lower", 1, 1e-3),
}


def figure_of(name: str) -> Figure:
    """What is known of a figure; one that nobody described is called by its name."""
    return FIGURES.get(name, Figure(name.replace("_", " ")))
