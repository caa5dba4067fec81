"""Text teachers: endpoints, local models, and answers that were kept."""
