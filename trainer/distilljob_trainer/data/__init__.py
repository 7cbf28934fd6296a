"""Datasets by name, in memory or streamed, with stable sample ids: `load`, batches, permutations."""

from distilljob_trainer.data.augment import Augmentation as Augmentation
from distilljob_trainer.data.counters import permutation as permutation
from distilljob_trainer.data.load import load as load
from distilljob_trainer.data.split import Data as Data
from distilljob_trainer.data.split import InMemory as InMemory
from distilljob_trainer.data.split import Inputs as Inputs
from distilljob_trainer.data.split import MemorySplit as MemorySplit
from distilljob_trainer.data.split import Normalization as Normalization
from distilljob_trainer.data.split import Split as Split
from distilljob_trainer.data.split import num_batches as num_batches
from distilljob_trainer.data.streaming import Streamed as Streamed
