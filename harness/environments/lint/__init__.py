"""Does an image show its agent more than the past of the base commit?"""
