"""What each step of a candidate's policy took, what that is worth, and what it cost: from a stored study alone.

`groups`     steps that the space decides at once
`algebra`    what a step does to the parts of a model, and what that is worth
`prices`     what a shape costs on the study's device
`judged`     candidates that differ in one step alone
`effects`    the main effect of a step over all judged candidates
`finding`    all of it, of one candidate or of all verified ones
"""

from autocompress.explain.steps.finding import explain_steps, with_steps

__all__ = ["explain_steps", "with_steps"]
