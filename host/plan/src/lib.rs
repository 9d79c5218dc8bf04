//! Gathered input and evaluated contexts to Pod and ConfigMaps; pure
