"""Text teachers: what answers an ask, keeps answers, and pays for them."""
