//! plugin-orders
