"""What can go wrong in the node itself; failures of the three skills keep their own classes.

NodeError
├── Permanent
│   ├── InvalidSettings      node.toml or the environment holds an unknown key or an impossible value
│   ├── UnknownSeries        no such series in the record
│   ├── NoRuleMatches        no routing rule wants this series
│   ├── IgnoredByRule        a routing rule says that this series is not to be mapped
│   ├── AcquisitionDiscontinued  the scanner discontinued the step, and no count proves that the series is whole
│   └── ArtefactDamaged      a file in the workspace no longer has its digest
└── Transient
    ├── DiskFull             below the watermark: nothing is accepted, nothing is lost
    └── ChildDied            the mapping process was killed
"""

import dicom_io.errors
import pipeline.errors


class NodeError(Exception):
    """Any failure of the node; its text is a sentence for the operator that says what to do next."""


class Permanent(NodeError):
    """Trying again gives the same result."""


class Transient(NodeError):
    """Trying again may succeed."""


class InvalidSettings(Permanent):
    """The configuration holds an unknown key or an impossible value."""


class UnknownSeries(Permanent):
    """The record holds no such series."""


class NoRuleMatches(Permanent):
    """No routing rule wants this series; add one to node.toml if it should be mapped."""


class IgnoredByRule(Permanent):
    """A routing rule with `ignore` wants this series; that is no failure."""


class AcquisitionDiscontinued(Permanent):
    """The scanner discontinued its procedure step and nothing proves that the series is whole."""


class ArtefactDamaged(Permanent):
    """A file in the workspace or inbox no longer has the digest that was recorded for it."""


class DiskFull(Transient):
    """Free space is below the watermark."""


class ChildDied(Transient):
    """The mapping process ended without a result."""


PERMANENT = (Permanent, dicom_io.errors.Permanent, pipeline.errors.Permanent)
TRANSIENT = (Transient, dicom_io.errors.Transient, pipeline.errors.Transient)
