"""The wire: what callers send and get. Decoding is validating; nothing below this package sees HTTP."""
