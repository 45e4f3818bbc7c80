"""The unified dialect: POST /v1/rerank and its other spellings."""
