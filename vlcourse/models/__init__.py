"""The models, one file a paper's idea; each reads like its paper."""
