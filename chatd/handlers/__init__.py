"""One file per noun: the operation once, its REST route and its event beside it."""
