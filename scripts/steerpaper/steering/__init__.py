"""Study 1: contrastive activation addition (Panickssery et al. 2023, arXiv 2312.06681)."""
