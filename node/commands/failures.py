"""Which failures a command turns into a sentence: the four packages' trees, and files out of reach."""

import db.errors
import node.errors

PERMANENT = (*node.errors.PERMANENT, db.errors.Permanent, OSError)
TRANSIENT = (*node.errors.TRANSIENT, db.errors.Transient)
INTERRUPTED = 130
