"""ROS bags, read and written without ROS."""

from rvm_model.bags.errors import BagError
from rvm_model.bags.reader import Bag, is_bag, open_bag
from rvm_model.bags.repair import repair
from rvm_model.bags.writer import BagWriter, Message, Topic

__all__ = ["Bag", "BagError", "BagWriter", "Message", "Topic", "is_bag", "open_bag", "repair"]
