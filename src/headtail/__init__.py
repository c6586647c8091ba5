"""headtail: fine-tune T5-family encoders as rankers, sharp at the head and well ordered down the tail."""
