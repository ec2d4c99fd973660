//! A library that ends the process while it is opened.

extern "C" fn end() {
    std::process::abort()
}

#[used]
#[unsafe(link_section = ".init_array")]
static AT_OPENING: extern "C" fn() = end;
