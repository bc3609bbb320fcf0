"""The harness's command line with the model `encdec`: takes the arguments of `lm_eval`."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import lm_eval.models  # noqa: E402, F401 - registers the harness's own models
import encdec_model  # noqa: E402, F401 - registers the model
from lm_eval.__main__ import cli_evaluate  # noqa: E402

cli_evaluate()
