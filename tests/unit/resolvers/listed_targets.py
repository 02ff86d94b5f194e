"""The targets that the services of these tests know, and how these are asked."""

from lightloom.sky.targets import Target

SEED = 7

#: Twelve of them; the first two are where the object of one publication is, one beside the other.
TARGETS = [
    Target("first", 29.99, 0.55301, "t"),
    Target("second", 29.99015, 0.55288, "t"),
    *(Target(f"T {number}", 20.0 * number + 0.125, 4.0 * number - 20, "t") for number in range(10)),
]

#: Of requests to the laboratory.
LIMITS = {
    "concurrent_requests": 2,
    "requests_per_s": 100,
    "timeout_s": 20.0,
    "reply_mb": 100,
    "attempts": 3,
    "longest_wait_s": 0.1,
    "breaker_failures": 50,
    "breaker_pause_s": 1.0,
    "poll_s": 0.05,
    "job_timeout_s": 20.0,
}
