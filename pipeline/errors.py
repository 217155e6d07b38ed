"""What the mathematics refuses, one class per thing an operator would do differently.

PipelineError
├── Permanent
│   ├── UnknownMethod         a recipe names a step, method or parameter that does not exist
│   ├── InvalidRecipe         a recipe cannot be read, or a value is out of range
│   ├── UnusableInput         shapes disagree, values are not finite, too few slices, no signal
│   ├── SingleEcho            a method that needs several echoes was given one
│   ├── NotConverged          an iteration diverged; the map would be wrong
│   ├── MissingCalibration    k-space without the centre or the reference from which coils are known
│   ├── SingularNoise         a noise scan from which no noise covariance can be told
│   ├── WeightsMissing        a network's trained weights are listed but not there
│   ├── WeightsAltered        the weights are not those whose digest is listed
│   └── WeightsUnknown        no such network, or nobody has trained it
└── Transient
    └── OutOfMemory           the device has too little memory now
"""


class PipelineError(Exception):
    """Any failure of this package; its text is a sentence for the operator that says what to do next."""


class Permanent(PipelineError):
    """Trying again gives the same result."""


class Transient(PipelineError):
    """Trying again may succeed."""


class UnknownMethod(Permanent):
    """A step, method or parameter that does not exist; the sentence names the nearest right one."""


class InvalidRecipe(Permanent):
    """The recipe cannot be read or holds a value out of range."""


class UnusableInput(Permanent):
    """The arrays cannot be mapped; the sentence says why."""


class SingleEcho(Permanent):
    """The method needs two echoes or more; choose a recipe for one echo."""


class NotConverged(Permanent):
    """An iteration diverged."""


class MissingCalibration(Permanent):
    """Nothing was measured from which the coils' sensitivities could be known."""


class SingularNoise(Permanent):
    """The noise covariance of the coils cannot be inverted: too few samples, or a coil without noise."""


class WeightsMissing(Permanent):
    """The file of a network's weights is gone; the sentence holds the command that restores it."""


class WeightsAltered(Permanent):
    """A file of weights has another digest than the listed one, or does not fit its network."""


class WeightsUnknown(Permanent):
    """No weights are listed for a network; the sentence holds the command that trains it."""


class OutOfMemory(Transient):
    """The device has too little free memory."""
