"""From a lab's source to its notebook and its page."""
