"""vcmaug: labelled synthetic 3D medical volumes from a few real ones, and what they are worth.

Real labelled volumes become *conditions*, a small *control* steers a frozen latent diffusion model
to draw images that fit them, the drawn pairs become a *cohort* with a manifest, and a *study*
measures whether training on that cohort helps a segmentation network.

The floors; imports go down only:

    cli                      the verbs, in the order of the flow
    pipeline                 recipe, artefacts, and the graph of what each is made from
    report                   one HTML file
    gates | arms             measured before a study; mixes of training data, and their makers
    generate                 plan, shards, workers
    quality | downstream     does the image fit its label; does the cohort help
    training | cohort | released  loops and losses; layout and manifest; weights of others
    control                  VCM: a denoiser that holds a denoiser
    ldm | conditions         the frozen prior; what to ask it for
    data                     volumes, labels, cases, splits
    parts                    families of what a recipe names
    config | provenance | shapes | seeding | compute | progress | affine
    files
    errors
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
