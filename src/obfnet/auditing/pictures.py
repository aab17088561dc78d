"""Which scored samples a report shows, and how: the worst first, then average ones; speech as sound too."""

from typing import Final

import numpy as np

from obfnet.auditing.engine import Audit
from obfnet.auditing.subject import AuditSubject
from obfnet.core.spec import as_unit
from obfnet.data.mfcc import coefficients
from obfnet.report.audit_page import AuditPictures, choose_samples
from obfnet.report.sample_picture import speech_picture
from obfnet.report.sound import sound_from_coefficients

_SHOWN: Final = 8


def pictures_of(subject: AuditSubject, audit: Audit) -> AuditPictures | None:
    """Example samples of an audit; None before any attack counts.

    Args:
        subject: What was audited, as the audit cut it.
        audit: What was found.
    """
    # Not the headline's: an attack with a low ceiling may lead by its share of it, and another rebuild more.
    best = audit.closest
    if best is None or best.best is None or best.leakage is None or best.leakage.per_sample is None:
        return None
    leaked = best.leakage.per_sample
    rows = choose_samples(leaked, worst=_SHOWN, average=_SHOWN)
    speech = subject.kind == "sounds"
    return AuditPictures(
        raw=as_unit(subject.scored.raw[rows]),
        obfuscated=as_unit(subject.scored.received[rows]),
        reconstructed=best.best.guesses[rows].astype(np.float32),
        floor=audit.floor.guesses[rows].astype(np.float32),
        normalised=leaked[rows],
        worst=min(_SHOWN, len(rows)),
        order=f"{_SHOWN} of {len(leaked)} that leak most, and {_SHOWN} nearest to the mean",
        picture=speech_picture if speech else None,
        sound=(lambda features: sound_from_coefficients(coefficients(features))) if speech else None,
    )
