"""What the record refuses.

RecordError
├── Permanent
│   ├── NotInRecord       no such series, run or object
│   ├── StateConflict     a state that cannot follow the present one
│   └── Superseded        the series has moved on to a newer revision; this work is no longer wanted
└── Transient
    └── RecordBusy        another writer held the database too long
"""


class RecordError(Exception):
    """Any failure of this package; its text is a sentence for the operator."""


class Permanent(RecordError):
    """Trying again gives the same result."""


class Transient(RecordError):
    """Trying again may succeed."""


class NotInRecord(Permanent):
    """The record holds no such series, run or object."""


class StateConflict(Permanent):
    """The wanted state cannot follow the present one."""


class Superseded(Permanent):
    """A newer revision of the series exists; the work of the older one is dropped."""


class RecordBusy(Transient):
    """The database stayed locked by another writer."""
