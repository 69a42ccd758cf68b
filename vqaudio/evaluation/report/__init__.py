"""An evaluation as a page to listen to: one HTML file with its sounds and pictures inside."""

from vqaudio.evaluation.report.figures import FIGURES, Figure, figure_of
from vqaudio.evaluation.report.gallery import Gallery
from vqaudio.evaluation.report.listening import ListeningCase, listening_files
from vqaudio.evaluation.report.page import render
from vqaudio.evaluation.report.rivals import Rival, read_rivals

__all__ = [
    "FIGURES",
    "Figure",
    "Gallery",
    "ListeningCase",
    "Rival",
    "figure_of",
    "listening_files",
    "read_rivals",
    "render",
]
