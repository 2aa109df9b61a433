from nlbflow.api import Data as Data
from nlbflow.api import evaluate as evaluate
from nlbflow.api import load as load
from nlbflow.api import save_submission as save_submission
from nlbflow.errors import NlbflowError as NlbflowError

__version__: str
METRICS_VERSION: str
