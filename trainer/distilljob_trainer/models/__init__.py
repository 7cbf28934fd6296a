"""Networks by name: `build`, `available`, `check_output`."""

from distilljob_trainer.models.check import check_output as check_output
from distilljob_trainer.models.registry import available as available
from distilljob_trainer.models.registry import build as build
