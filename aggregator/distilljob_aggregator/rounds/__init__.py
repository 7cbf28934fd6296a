"""The cycle barrier: a pure reducer over a journal, and the decisions that write it."""
