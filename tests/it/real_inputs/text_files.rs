//! Text and budgets.
