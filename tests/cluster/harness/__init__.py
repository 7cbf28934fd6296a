"""The product on the rig: the operator as a process, real aggregators beside fake pods, and students played by tests."""
