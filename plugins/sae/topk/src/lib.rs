//! plugin-topk
