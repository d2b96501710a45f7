"""What the course's speed is measured with: each number stands beside a plain baseline from the same run."""
