"""Decodes a sound file into what an input spec says: MFCCs, or a waveform."""

from obfnet.core.spec import InputSpec, Samples
from obfnet.data.mfcc import speech_features
from obfnet.data.wav import read_wav
from obfnet.data.waveforms import is_waveform, waveform


def decode_sound(data: bytes, name: str, *, spec: InputSpec) -> Samples:
    """One sample as networks see it: `(1, 20, 45)` or `(1, 1, T)` float32 in [0, 1].

    Args:
        data: A WAV file.
        name: What to call it in a message.
        spec: Of waveforms, or else of MFCCs.

    Raises:
        DataError: the file cannot be read.
    """
    sound = read_wav(data, name=name)
    decoded: Samples = waveform(sound, spec) if is_waveform(spec) else speech_features(sound)
    return decoded
