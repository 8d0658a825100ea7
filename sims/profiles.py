"""The cluster profiles that come with the package, each number with its source."""

from sims.cluster import ClusterProfile


def local() -> ClusterProfile:
    """Trials on one machine with four GPUs, as in the published local study."""
    return ClusterProfile(
        name="local",
        startup_delay=8.0,
        stop_delay=0.0,
        # One of the four GPUs of an ml.g4dn.12xlarge, charged while a trial holds it.
        prices={"ml.g4dn.12xlarge": 5.477 / 4, "ml.g4dn.xlarge": 0.736},
        sources={
            "startup_delay": "published local study: a start or resume costs 5 to 12 s",
            "stop_delay": "contained in the start-up delay, which was measured trial to trial",
            "prices": "on-demand training, us-west-2, table of Syne Tune 0.13; ml.g4dn.12xlarge "
            "is disputed (5.48 or 4.89 an hour)",
        },
    )


def sagemaker() -> ClusterProfile:
    """Every attempt a SageMaker training job of its own, without a warm pool."""
    return ClusterProfile(
        name="sagemaker",
        startup_delay=240.0,
        warm_startup_delay=20.0,
        billed_startup=0.4,
        stop_delay=30.0,
        prices={"ml.g4dn.xlarge": 0.736, "ml.g4dn.12xlarge": 5.477},
        sources={
            "startup_delay": "first wave of trials in the published rows with 8 workers: 250 s, "
            "give or take 20, the creation of the jobs included; users report 2 to 5 minutes",
            "warm_startup_delay": "about 20 s with warm pools (Syne Tune's FAQ)",
            "billed_startup": "billing starts with the download of the image, at 205 s of 324 s "
            "in a timeline reported by a user",
            "stop_delay": "a stopped job gets up to 120 s and uploads its output",
            "prices": "on-demand training, us-east-1 and us-west-2, 9 of 11 tables seen",
        },
    )
