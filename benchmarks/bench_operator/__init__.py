"""How fast, how dear and how faithful the operator is, beside a bare client and JobSet."""
