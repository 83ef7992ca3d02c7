# SPDX-License-Identifier: Apache-2.0
"""Preparation of the bundled demo data: Debian's emoji font and their English names.

cldr      reads names and keywords
captions  makes the sentences of an image from them
pictures  draws an emoji, leaves out what is no picture, turns pictures into region features
splits    says which image is for training and which for which test
folder    writes the data folder
"""


class PreparationError(Exception):
    """Something the user has to put right; the message is one line for them."""
