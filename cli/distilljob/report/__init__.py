"""One page that tells what a run showed: `distilljob report`."""
